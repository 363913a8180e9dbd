//! The engine against servers on the loopback device. Hosts under `.example` all lead to the server of a test.

mod engine;
mod manners;
mod server;
mod workers;
