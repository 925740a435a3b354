//! A log that nobody reads or that has no room; alarms, and what status says of them.
