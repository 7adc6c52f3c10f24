//! How many of each thing a tenant may have, and the refusal that says so.
//!
//! Nothing here counts: what there is stands in rows. Never a rate; how fast is another module's.

use std::fmt;

use super::tenant::TenantLimits;

/// A thing that a tenant may have only so many of.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Quota {
    /// Keys, whatever has become of their versions.
    Keys,
    /// Versions of one key that are not destroyed.
    VersionsPerKey,
    /// Policies of the tenant's own.
    Policies,
    /// Grants that were not revoked and have not ended.
    Grants,
    /// Principals and groups that hold roles.
    RoleBindings,
    /// Relation tuples.
    Relations,
    /// Service accounts.
    ServiceAccounts,
}

/// How many of each that is counted for a whole tenant there are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TenantUsage {
    /// Keys.
    pub keys: u64,
    /// Policies.
    pub policies: u64,
    /// Grants.
    pub grants: u64,
    /// Role bindings.
    pub role_bindings: u64,
    /// Relation tuples.
    pub relations: u64,
    /// Service accounts.
    pub service_accounts: u64,
}

/// There would be more than there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{quota}: there are {used}, and there may be {limit}; {}", quota.remedy())]
pub struct QuotaExceeded {
    /// Of what.
    pub quota: Quota,
    /// How many there are.
    pub used: u64,
    /// How many there may be.
    pub limit: u32,
}

/// A limit is higher than any tenant's may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be at most {highest}; 0 means the default, {default}")]
pub struct LimitTooHigh {
    /// The proto field.
    pub field: &'static str,
    highest: u32,
    default: u32,
}

// === impl Quota ===

impl Quota {
    /// Every quota, in the order of a tenant's limits.
    pub const ALL: [Self; 7] = [
        Self::Keys,
        Self::VersionsPerKey,
        Self::Policies,
        Self::Grants,
        Self::RoleBindings,
        Self::Relations,
        Self::ServiceAccounts,
    ];

    /// The name in limits, usage and rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::VersionsPerKey => "versions_per_key",
            Self::Policies => "policies",
            Self::Grants => "grants",
            Self::RoleBindings => "role_bindings",
            Self::Relations => "relations",
            Self::ServiceAccounts => "service_accounts",
        }
    }

    /// The quota of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quota| quota.name() == name)
    }

    /// What holds where a tenant's own limit says 0.
    pub const fn default_limit(self) -> u32 {
        match self {
            Self::Keys | Self::Grants | Self::RoleBindings | Self::Relations => 10_000,
            Self::VersionsPerKey | Self::Policies | Self::ServiceAccounts => 1_000,
        }
    }

    /// The most that a tenant can be given. What a decision reads is kept in memory as a whole, and
    /// every version of a key is opened when it rotates.
    pub const fn highest_limit(self) -> u32 {
        match self {
            Self::Keys => 1_000_000,
            Self::Policies | Self::Grants | Self::RoleBindings | Self::Relations => 100_000,
            Self::VersionsPerKey | Self::ServiceAccounts => 10_000,
        }
    }

    /// How many there may be by these limits.
    pub const fn limit(self, limits: &TenantLimits) -> u32 {
        match self.said(limits) {
            0 => self.default_limit(),
            own => own,
        }
    }

    /// Lets `added` more be where there are `used` and `removed` go at the same time, or says why not.
    /// A change that makes them no more is lawful however many there are.
    ///
    /// # Errors
    /// [`QuotaExceeded`].
    pub fn admit(
        self,
        limits: &TenantLimits,
        used: u64,
        added: u64,
        removed: u64,
    ) -> Result<u64, QuotaExceeded> {
        let after = used.saturating_add(added).saturating_sub(removed);
        let limit = self.limit(limits);
        if after > used && after > u64::from(limit) {
            return Err(QuotaExceeded { quota: self, used, limit });
        }
        Ok(after)
    }

    const fn said(self, limits: &TenantLimits) -> u32 {
        match self {
            Self::Keys => limits.keys,
            Self::VersionsPerKey => limits.versions_per_key,
            Self::Policies => limits.policies,
            Self::Grants => limits.grants,
            Self::RoleBindings => limits.role_bindings,
            Self::Relations => limits.relations,
            Self::ServiceAccounts => limits.service_accounts,
        }
    }

    const fn field(self) -> &'static str {
        match self {
            Self::Keys => "limits.keys",
            Self::VersionsPerKey => "limits.versions_per_key",
            Self::Policies => "limits.policies",
            Self::Grants => "limits.grants",
            Self::RoleBindings => "limits.role_bindings",
            Self::Relations => "limits.relations",
            Self::ServiceAccounts => "limits.service_accounts",
        }
    }

    /// What whoever meets the limit can do.
    const fn remedy(self) -> &'static str {
        match self {
            Self::Keys => {
                "use keys that are there, or have it raised: bulla tenant update --max-keys N TENANT"
            }
            Self::VersionsPerKey => {
                "destroy versions that retire-check calls SAFE, or have it raised: bulla tenant \
                 update --max-versions-per-key N TENANT"
            }
            Self::Policies => {
                "delete policies, or have it raised: bulla tenant update --max-policies N TENANT"
            }
            Self::Grants => {
                "revoke grants, or have it raised: bulla tenant update --max-grants N TENANT"
            }
            Self::RoleBindings => {
                "give roles to groups, take roles away, or have it raised: bulla tenant update \
                 --max-role-bindings N TENANT"
            }
            Self::Relations => {
                "remove tuples, or have it raised: bulla tenant update --max-relations N TENANT"
            }
            Self::ServiceAccounts => {
                "delete service accounts, or have it raised: bulla tenant update \
                 --max-service-accounts N TENANT"
            }
        }
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

// === impl TenantLimits ===

impl TenantLimits {
    /// These limits, if none is higher than any tenant's may be.
    ///
    /// # Errors
    /// [`LimitTooHigh`], of the first that is.
    pub fn checked(self) -> Result<Self, LimitTooHigh> {
        let over = Quota::ALL.into_iter().find(|quota| quota.said(&self) > quota.highest_limit());
        match over {
            None => Ok(self),
            Some(quota) => Err(LimitTooHigh {
                field: quota.field(),
                highest: quota.highest_limit(),
                default: quota.default_limit(),
            }),
        }
    }
}

// === impl TenantUsage ===

impl TenantUsage {
    /// Sets how many there are of what is counted for a whole tenant.
    pub fn set(&mut self, quota: Quota, count: u64) {
        match quota {
            Quota::Keys => self.keys = count,
            Quota::Policies => self.policies = count,
            Quota::Grants => self.grants = count,
            Quota::RoleBindings => self.role_bindings = count,
            Quota::Relations => self.relations = count,
            Quota::ServiceAccounts => self.service_accounts = count,
            // Of a key, and of no tenant.
            Quota::VersionsPerKey => {}
        }
    }
}

const _: () = {
    let mut at = 0;
    while at < Quota::ALL.len() {
        #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
        let quota = Quota::ALL[at];
        assert!(quota.default_limit() > 0 && quota.default_limit() <= quota.highest_limit());
        at = at.saturating_add(1);
    }
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
    use proptest::prelude::*;

    use super::*;

    fn limits(quota: Quota, limit: u32) -> TenantLimits {
        let mut limits = TenantLimits::default();
        let field = match quota {
            Quota::Keys => &mut limits.keys,
            Quota::VersionsPerKey => &mut limits.versions_per_key,
            Quota::Policies => &mut limits.policies,
            Quota::Grants => &mut limits.grants,
            Quota::RoleBindings => &mut limits.role_bindings,
            Quota::Relations => &mut limits.relations,
            Quota::ServiceAccounts => &mut limits.service_accounts,
        };
        *field = limit;
        limits
    }

    #[test]
    fn a_limit_of_0_is_the_default_and_none_is_over_the_highest() {
        for quota in Quota::ALL {
            assert_eq!(quota.limit(&TenantLimits::default()), quota.default_limit());
            assert_eq!(quota.limit(&limits(quota, 7)), 7);
            let highest = quota.highest_limit();
            limits(quota, highest).checked().unwrap();
            let over = limits(quota, highest + 1).checked().unwrap_err();
            assert_eq!(over.field, format!("limits.{quota}"));
            assert!(over.to_string().contains(&highest.to_string()), "{over}");
            assert_eq!(Quota::named(quota.name()), Some(quota));
        }
    }

    #[test]
    fn a_refusal_says_the_limit_the_number_and_what_to_do() {
        for quota in Quota::ALL {
            let text = quota.admit(&limits(quota, 7), 7, 1, 0).unwrap_err().to_string();
            let flag = format!("--max-{}", quota.name().replace('_', "-"));
            assert!(text.starts_with(&format!("{quota}: there are 7, and there may be 7; ")));
            assert!(text.contains(&flag), "{text}");
        }
    }

    proptest! {
        /// Whatever happens in whatever order, there are never more than there may be, and nothing is
        /// refused that would not make more.
        #[test]
        fn e07_no_history_passes_a_limit_and_none_is_refused_below_it(
            at in 0..Quota::ALL.len(),
            limit in 1..20_u32,
            steps in prop::collection::vec((0..4_u64, 0..4_u64), 0..100),
        ) {
            let quota = Quota::ALL[at];
            let limits = limits(quota, limit);
            let mut used = 0_u64;
            for (added, removed) in steps {
                let removed = removed.min(used + added);
                match quota.admit(&limits, used, added, removed) {
                    Ok(after) => {
                        prop_assert_eq!(after, used + added - removed);
                        used = after;
                    }
                    Err(refused) => {
                        prop_assert!(used + added - removed > u64::from(limit));
                        prop_assert_eq!((refused.used, refused.limit), (used, limit));
                    }
                }
                prop_assert!(used <= u64::from(limit));
            }
        }

        #[test]
        fn a_limit_that_was_lowered_takes_nothing_away_and_lets_nothing_more_in(
            used in 0..100_u64,
            limit in 1..50_u32,
            removed in 0..10_u64,
        ) {
            let limits = limits(Quota::Grants, limit);
            let removed = removed.min(used);
            prop_assert_eq!(Quota::Grants.admit(&limits, used, 0, removed), Ok(used - removed));
            let more = Quota::Grants.admit(&limits, used, 1, 0);
            prop_assert_eq!(more.is_ok(), used < u64::from(limit));
        }
    }
}
