//! Facts of bounded entities: see the crate's table of modules.
