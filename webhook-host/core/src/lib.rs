//! How Sallyport judges Services.
pub mod contract;
pub mod decode;
pub mod excerpt;
pub mod printable;
pub mod service;
pub mod units;
pub mod yaml;
