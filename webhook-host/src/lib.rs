//! x
pub mod admission;
pub mod contract;
pub mod decode;
pub mod engine;
pub mod inventory;
pub mod manifest;
pub mod policy;
pub mod service;
pub mod units;
pub mod yaml;
