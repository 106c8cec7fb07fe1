//! Which cloud a Node's `spec.providerID` means.
//!
//! Two clouds write IDs without a scheme. They are recognised exactly, since a policy permits something where it knows the
//! cloud: an ID that only looks alike means nothing.

use crate::review::ProviderId;

/// Alibaba Cloud's IDs begin with the region, `cn-hangzhou.i-…`. Source: its list of regions and zones, from memory; a region
/// that is missing here makes a Node of an unknown provider, which policies say by name.
const ALIBABA_REGIONS: [&str; 35] = [
    "cn-hangzhou",
    "cn-shanghai",
    "cn-beijing",
    "cn-shenzhen",
    "cn-hongkong",
    "ap-southeast-1",
    "eu-central-1",
    "us-east-1",
    "us-west-1",
    "ap-northeast-1",
    "ap-southeast-5",
    "cn-zhangjiakou",
    "cn-chengdu",
    "cn-qingdao",
    "cn-huhehaote",
    "cn-wulanchabu",
    "cn-guangzhou",
    "cn-heyuan",
    "cn-nanjing",
    "cn-fuzhou",
    "cn-wuhan-lr",
    "cn-zhengzhou-jva",
    "ap-northeast-2",
    "ap-southeast-3",
    "ap-southeast-6",
    "ap-southeast-7",
    "eu-west-1",
    "me-east-1",
    "me-central-1",
    "na-south-1",
    "cn-beijing-finance-1",
    "cn-shanghai-finance-1",
    "cn-shenzhen-finance-1",
    "cn-hangzhou-finance",
    "cn-north-2-gov-1",
];

impl ProviderId {
    /// What the ID says, as it stands: the scheme, or what precedes the first dot. None where the Node has no ID.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Scheme(text) | Self::Bare(text) => Some(text),
            Self::Missing => None,
        }
    }

    /// The provider by the name that others have as their scheme: `oci` for a bare `ocid1`, `alicloud` for a region of
    /// Alibaba Cloud, and [`ProviderId::text`] for everything else.
    ///
    /// ```
    /// use sallyport_policy::review::ProviderId;
    ///
    /// assert_eq!(ProviderId::Scheme("aws".into()).provider(), Some("aws"));
    /// assert_eq!(ProviderId::Bare("ocid1".into()).provider(), Some("oci"));
    /// assert_eq!(ProviderId::Bare("cn-hangzhou".into()).provider(), Some("alicloud"));
    /// assert_eq!(ProviderId::Missing.provider(), None);
    /// ```
    pub fn provider(&self) -> Option<&str> {
        match self {
            Self::Bare(text) if text == "ocid1" => Some("oci"),
            Self::Bare(text) if ALIBABA_REGIONS.contains(&text.as_str()) => Some("alicloud"),
            _ => self.text(),
        }
    }
}
