//! The crate from outside: the renderer, the worlds that it builds, and how the face networks see
//! its people.

mod digests;
mod face_sizes;
mod render;
mod server;
