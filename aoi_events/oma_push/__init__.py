"""The codec of OMA Push over SMS: payload, WSP Push PDU, WDP datagrams and their reassembly."""
