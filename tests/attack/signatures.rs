//! Signatures that cover too little.
