//! Watched folders: writers that open a file twice, files that stay, no notices of the system.
