//! The audit of a cluster: findings and doors, gathered Service by Service.
//!
//! Pure: `cli` and the background audit read the Services and pass in their JSON text, which is
//! dropped once it is judged. What is kept has the size of the findings and doors, whatever the
//! number of Services.

mod exposure_map;
pub mod open_report;
mod results;
mod row;
mod ruling;
mod scope;
mod since;

pub use exposure_map::ExposureMap;
pub(crate) use exposure_map::{Gathering, MapSummary};
pub use results::{Counts, Results, listed};
pub use row::{Audit, Changes, Row};
pub use ruling::{Exposure, Refusal, Ruling};
pub use scope::Scope;
pub use since::{Changed, Earlier, EarlierError, Since, Told};
