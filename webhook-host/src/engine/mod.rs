//! skeleton
/// Engine; one per process.
#[derive(Debug)]
pub struct Engine {}
/// x
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// evaluations at the same time
    pub concurrency: u32,
    /// the largest memory limit
    pub memory: crate::units::Bytes,
}
impl Engine {
    /// x
    pub fn new(_config: &EngineConfig) -> Result<Self, crate::policy::LoadError> {
        Ok(Self {})
    }
}
