"""Code that several channels share: offers, requests, results, circuit breakers and HTTP."""
