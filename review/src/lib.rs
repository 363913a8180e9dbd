//! `laioncele review`: a page on the loopback device where people look at identities, the most doubtful first, and decide.
//!
//! Only who has the token of the page's address is answered, only under the loopback device's own names, and decisions are taken
//! only with the token in a header, which no other site's page can send. Nothing but GET and POST of a few paths is understood.

mod board;
mod request;
mod server;

pub use board::Board;
pub use server::{ReviewError, Server};
