//! x
use sallyport_policy::{service::*, verdict::*, *};
policy!(ServiceTypes, "policy.wit");
/// x
pub struct ServiceTypes {
    settings: Settings,
}
impl Policy for ServiceTypes {
    type Settings = Settings;
    fn describe() -> Description { Description { name: "service-type".into(), version: "0.1.0".into(), phases: vec![review::Phase::Validating], operations: vec![review::Operation::Create, review::Operation::Update], resources: vec![review::Resource::Services], context: vec![] } }
    fn defaults() -> Settings {
        Settings { allowed_types: vec![ServiceType::ClusterIp], per_namespace: vec![] }
    }
    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        Ok(Self { settings })
    }
    fn validate(&self, review: &Review) -> Verdict {
        let t = review.service.spec.type_.unwrap_or(ServiceType::ClusterIp);
        if self.settings.allowed_types.contains(&t) {
            return Verdict::default();
        }
        Verdict {
            violations: vec![Violation {
                rule: "S01".into(),
                key: format!("{t:?}"),
                field: "spec.type".into(),
                message: format!("{t:?} bad"),
                fix: "use".into(),
            }],
            ..Default::default()
        }
    }
}
