//! Input that is missing, damaged or wrong: an exit code, a message that names what and where, and nothing lost.

mod databases;
mod datasets;
mod disks;
mod models;
mod outputs;
