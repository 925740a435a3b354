//! Relays and addresses as networks have them.
