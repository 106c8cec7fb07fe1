//! x
pub mod contract;
pub mod decode;
pub mod inventory;
pub mod manifest;
pub mod service;
pub mod units;
pub mod yaml;
