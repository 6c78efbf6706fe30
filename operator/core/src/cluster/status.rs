//! Status. Pure.
