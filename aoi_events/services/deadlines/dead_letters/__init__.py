"""Dead letters and unroutable requests; they run inside the deadlines process."""
