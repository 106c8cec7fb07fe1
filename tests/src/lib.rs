//! The tests of Sallyport that need more than one crate: see `tests/`, `fixtures/` and `guests/`.
