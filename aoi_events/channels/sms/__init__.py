"""The SMS channel: OMA Connectionless Push in short messages, through one SMSC."""
