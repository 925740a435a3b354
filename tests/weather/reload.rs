//! Changed configurations: taken whole or not at all, while everything that is under way lives.
