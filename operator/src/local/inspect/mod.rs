//! `mqtt-operator local get | status | down`: looks at what an operator on the same state folder does. IO: reads the folder.

mod down;
mod get;
mod status;
mod table;

pub(super) use down::down;
pub(super) use get::get;
pub(super) use status::status;
