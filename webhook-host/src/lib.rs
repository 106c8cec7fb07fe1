//! x
pub mod admission;
pub mod cli;
pub mod contract;
pub mod decode;
pub mod engine;
pub mod inventory;
pub mod manifest;
pub mod policy;
pub mod report;
pub mod service;
pub mod suite;
pub mod units;
pub mod yaml;
