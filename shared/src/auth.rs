//! Who may do what: the only place that decides it (CONTRACT.md, section 1).
//!
//! The token is read from the store for every request, strongly consistent, so that a deleted one
//! is refused by the next request on every instance. Roles are cached for half a minute, because
//! their change has sixty seconds to take effect.

use crate::error::Refusal;
use crate::model::{
    Bucket, BucketId, Permission, Permissions, Role, RoleId, Timestamp, TokenId, TokenRecord,
};
use crate::secret::{Token, TokenDigest};
use crate::store::{Store, StoreError};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Half of the 60 seconds that a role's change may take, to leave room for slow reads.
const ROLES_MAX_AGE: Duration = Duration::from_secs(30);

type Roles = Arc<HashMap<RoleId, Permissions>>;

/// A moment by both clocks: an instance may be paused between two requests, and one of its clocks
/// with it.
#[derive(Clone, Copy, Debug)]
struct Moment {
    monotonic: Instant,
    wall: Timestamp,
}

impl Moment {
    fn now() -> Self {
        Self { monotonic: Instant::now(), wall: Timestamp::now() }
    }

    /// Whether neither clock says that it is longer ago; one that was set back says so.
    fn is_within(self, age: Duration) -> bool {
        let passed = Timestamp::now().millis() - self.wall.millis();
        self.monotonic.elapsed() < age && u128::try_from(passed).is_ok_and(|passed| passed < age.as_millis())
    }
}

/// Authenticates requests; holds the instance's cache of roles.
#[derive(Debug)]
pub struct Authenticator {
    store: Store,
    roles: Mutex<Option<(Moment, Roles)>>,
}

/// A token as a request presents it: right by form and checksum, not yet looked up.
#[derive(Debug)]
pub struct Presented {
    digest: TokenDigest,
    id: TokenId,
}

impl Presented {
    /// Reads a header's value.
    ///
    /// # Errors
    /// [`Refusal::Missing`] or [`Refusal::Malformed`], without any look-up.
    pub fn read(header: Option<&str>) -> Result<Self, Refusal> {
        let text = header.filter(|text| !text.is_empty()).ok_or(Refusal::Missing)?;
        let digest = Token::parse(text).ok_or(Refusal::Malformed)?.digest();
        Ok(Self { digest, id: digest.token_id() })
    }

    /// The id that the token has if it exists.
    pub fn token_id(&self) -> &TokenId {
        &self.id
    }
}

/// The outcome of looking a token up.
#[derive(Debug)]
pub enum Authentication {
    /// It may be used from here and now.
    Accepted(Caller),
    /// It may not.
    Refused(Refusal, TokenId),
}

/// Whoever holds an accepted token.
#[derive(Clone, Debug)]
pub struct Caller {
    token: TokenRecord,
    permissions: Permissions,
}

/// Affiliates whose business a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// Every affiliate's, and that of none.
    All,
    /// These affiliates' only; an empty list is nobody's.
    Of(&'a [String]),
}

impl Scope<'_> {
    /// Refuses another affiliate's business, or that of none.
    ///
    /// # Errors
    /// [`Refusal::Affiliate`].
    pub fn require(self, affiliate_id: Option<&str>) -> Result<(), Refusal> {
        match self {
            Self::All => Ok(()),
            Self::Of(affiliates) => match affiliate_id {
                Some(id) if affiliates.iter().any(|own| own == id) => Ok(()),
                _ => Err(Refusal::Affiliate),
            },
        }
    }
}

impl Authenticator {
    /// Begins with empty caches.
    pub fn new(store: Store) -> Self {
        Self { store, roles: Mutex::default() }
    }

    /// Looks a token up: one round, roles beside it where the cache is too old.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn authenticate(
        &self,
        presented: &Presented,
        address: Option<IpAddr>,
    ) -> Result<Authentication, StoreError> {
        self.judge(presented, self.store.token(&presented.digest), address).await
    }

    /// As [`Authenticator::authenticate`], and reads the bucket in the same call.
    ///
    /// # Errors
    /// As [`Authenticator::authenticate`].
    pub async fn authenticate_with_bucket(
        &self,
        presented: &Presented,
        address: Option<IpAddr>,
        bucket: &BucketId,
    ) -> Result<(Authentication, Option<Bucket>), StoreError> {
        let mut found = None;
        let token = async {
            let (token, bucket) = self.store.token_and_bucket(&presented.digest, bucket).await?;
            found = bucket;
            Ok(token)
        };
        Ok((self.judge(presented, token, address).await?, found))
    }

    /// As [`Authenticator::authenticate`], and reads in the same call which bucket the source is assigned to.
    ///
    /// # Errors
    /// As [`Authenticator::authenticate`].
    pub async fn authenticate_with_source(
        &self,
        presented: &Presented,
        address: Option<IpAddr>,
        (affiliate_id, source_id): (&str, &str),
    ) -> Result<(Authentication, Option<BucketId>), StoreError> {
        let mut found = None;
        let token = async {
            let look_up = self.store.token_and_source(&presented.digest, affiliate_id, source_id);
            let (token, bucket) = look_up.await?;
            found = bucket;
            Ok(token)
        };
        Ok((self.judge(presented, token, address).await?, found))
    }

    /// Reads the roles before the first request asks for them, over the connection that it will use then.
    /// What fails is read again by that request.
    pub async fn warm_up(&self) {
        let _ = self.roles().await;
    }

    async fn judge(
        &self,
        presented: &Presented,
        token: impl Future<Output = Result<Option<TokenRecord>, StoreError>>,
        address: Option<IpAddr>,
    ) -> Result<Authentication, StoreError> {
        let (token, roles) = futures_util::future::join(token, self.roles()).await;
        let Some(token) = token? else {
            return Ok(Authentication::Refused(Refusal::Unknown, presented.id.clone()));
        };
        let refusal = if token.expires_at.is_some_and(|expiry| expiry <= Timestamp::now()) {
            Some(Refusal::Expired)
        } else if !token.whitelist.allows(address) {
            Some(Refusal::Address)
        } else {
            None
        };
        if let Some(reason) = refusal {
            return Ok(Authentication::Refused(reason, token.id));
        }
        let mut roles = roles?;
        if !roles.contains_key(&token.role_id) {
            // A role that was made after the cache was filled.
            roles = self.load_roles().await?;
        }
        let permissions = roles.get(&token.role_id).copied().unwrap_or_default();
        Ok(Authentication::Accepted(Caller { token, permissions }))
    }

    async fn roles(&self) -> Result<Roles, StoreError> {
        let cached = self.roles.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match cached {
            Some((since, roles)) if since.is_within(ROLES_MAX_AGE) => Ok(roles),
            _ => self.load_roles().await,
        }
    }

    async fn load_roles(&self) -> Result<Roles, StoreError> {
        // The age counts from before the read: what changes during it is not in it.
        let since = Moment::now();
        let roles =
            self.store.roles().await?.into_iter().map(|Role { id, permissions, .. }| (id, permissions));
        let roles: Roles = Arc::new(roles.collect());
        *self.roles.lock().unwrap_or_else(PoisonError::into_inner) = Some((since, roles.clone()));
        Ok(roles)
    }
}

impl Caller {
    /// The token's id.
    pub fn token_id(&self) -> &TokenId {
        &self.token.id
    }

    /// Refuses a caller whose role lacks the permission.
    ///
    /// # Errors
    /// [`Refusal::Permission`].
    pub fn require(&self, permission: Permission) -> Result<(), Refusal> {
        if self.permissions.contains(permission) { Ok(()) } else { Err(Refusal::Permission) }
    }

    /// Refuses a caller who may not read the affiliate's leads and buckets: `buckets:view-all`
    /// reads every affiliate's, `buckets:view-own` those of the token's list, of which an empty
    /// one holds none.
    ///
    /// # Errors
    /// [`Refusal::Permission`] or [`Refusal::Affiliate`].
    pub fn require_view(&self, affiliate_id: &str) -> Result<(), Refusal> {
        if self.permissions.contains(Permission::BucketsViewAll) {
            return Ok(());
        }
        self.require(Permission::BucketsViewOwn)?;
        if self.owns(affiliate_id) { Ok(()) } else { Err(Refusal::Affiliate) }
    }

    /// The affiliate that a sign-up is for: a token with a list signs up for its affiliates only,
    /// and where the request names none and the list has one, for that one.
    ///
    /// # Errors
    /// [`Refusal::Permission`], or [`Refusal::Affiliate`] for another affiliate, or for none where
    /// the token has several.
    pub fn sign_up_affiliate(&self, given: Option<&str>) -> Result<Option<String>, Refusal> {
        self.require(Permission::ClientsCreate)?;
        match (given, self.token.affiliate_ids.as_slice()) {
            (given, []) => Ok(given.map(str::to_owned)),
            (Some(given), _) if self.owns(given) => Ok(Some(given.to_owned())),
            (None, [only]) => Ok(Some(only.clone())),
            _ => Err(Refusal::Affiliate),
        }
    }

    /// The affiliates whose buckets the caller may read.
    ///
    /// # Errors
    /// [`Refusal::Permission`].
    pub fn view_scope(&self) -> Result<Scope<'_>, Refusal> {
        if self.permissions.contains(Permission::BucketsViewAll) {
            return Ok(Scope::All);
        }
        self.require(Permission::BucketsViewOwn)?;
        Ok(Scope::Of(&self.token.affiliate_ids))
    }

    /// The affiliates for which the caller has a permission that is not bound to any: a token with
    /// a list does the business of its affiliates only.
    ///
    /// # Errors
    /// [`Refusal::Permission`].
    pub fn scope(&self, permission: Permission) -> Result<Scope<'_>, Refusal> {
        self.require(permission)?;
        Ok(match self.token.affiliate_ids.as_slice() {
            [] => Scope::All,
            affiliates => Scope::Of(affiliates),
        })
    }

    /// The token itself.
    pub fn token(&self) -> &TokenRecord {
        &self.token
    }

    /// What its role allows.
    pub fn permissions(&self) -> Permissions {
        self.permissions
    }

    fn owns(&self, affiliate_id: &str) -> bool {
        self.token.affiliate_ids.iter().any(|own| own == affiliate_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Whitelist;

    fn caller(permissions: &[Permission], affiliates: &[&str]) -> Caller {
        let token = Token::generate().unwrap();
        Caller {
            token: TokenRecord {
                id: token.digest().token_id(),
                name: "test".into(),
                role_id: RoleId::new("role"),
                hint: token.hint(),
                whitelist: Whitelist::default(),
                affiliate_ids: affiliates.iter().map(|id| (*id).to_owned()).collect(),
                expires_at: None,
                created_date: Timestamp::now(),
            },
            permissions: permissions.iter().copied().collect(),
        }
    }

    #[test]
    fn viewing_own_is_of_the_tokens_affiliates_and_an_empty_list_is_nobodys() {
        let own = caller(&[Permission::BucketsViewOwn], &["a", "b"]);
        assert_eq!(own.require_view("b"), Ok(()));
        for other in ["c", "A", "", "a "] {
            assert_eq!(own.require_view(other), Err(Refusal::Affiliate));
        }
        assert_eq!(caller(&[Permission::BucketsViewOwn], &[]).require_view("a"), Err(Refusal::Affiliate));
        assert_eq!(caller(&[Permission::BucketsViewOwn], &[]).require_view(""), Err(Refusal::Affiliate));
    }

    #[test]
    fn viewing_all_needs_no_list_and_other_permissions_view_nothing() {
        assert_eq!(caller(&[Permission::BucketsViewAll], &[]).require_view("a"), Ok(()));
        for permission in Permission::ALL {
            let expected = match permission {
                Permission::BucketsViewOwn | Permission::BucketsViewAll => Ok(()),
                _ => Err(Refusal::Permission),
            };
            assert_eq!(caller(&[permission], &["a"]).require_view("a"), expected);
        }
        assert_eq!(caller(&[], &["a"]).require_view("a"), Err(Refusal::Permission));
    }

    #[test]
    fn a_sign_up_is_for_the_tokens_affiliates() {
        let creator = |affiliates: &[&str]| caller(&[Permission::ClientsCreate], affiliates);
        for (affiliates, given, expected) in [
            (&[][..], None, Ok(None)),
            (&[], Some("x"), Ok(Some("x".to_owned()))),
            (&["a"], None, Ok(Some("a".to_owned()))),
            (&["a"], Some("a"), Ok(Some("a".to_owned()))),
            (&["a"], Some("b"), Err(Refusal::Affiliate)),
            (&["a", "b"], Some("b"), Ok(Some("b".to_owned()))),
            (&["a", "b"], None, Err(Refusal::Affiliate)),
        ] {
            assert_eq!(creator(affiliates).sign_up_affiliate(given), expected, "{affiliates:?} {given:?}");
        }
        assert_eq!(
            caller(&[Permission::BucketsViewAll], &[]).sign_up_affiliate(None),
            Err(Refusal::Permission)
        );
    }

    #[test]
    fn scopes_are_the_tokens_affiliates_and_an_empty_scope_denies() {
        let manager = |affiliates: &[&str]| caller(&[Permission::BucketsManage], affiliates);
        assert_eq!(manager(&[]).scope(Permission::BucketsManage), Ok(Scope::All));
        let scoped = manager(&["a"]);
        let scope = scoped.scope(Permission::BucketsManage).unwrap();
        assert_eq!(scope.require(Some("a")), Ok(()));
        for other in [Some("b"), Some(""), None] {
            assert_eq!(scope.require(other), Err(Refusal::Affiliate));
        }
        assert_eq!(manager(&[]).scope(Permission::ClientsView), Err(Refusal::Permission));
        let own = caller(&[Permission::BucketsViewOwn], &[]);
        assert_eq!(own.view_scope().unwrap().require(Some("a")), Err(Refusal::Affiliate));
        assert_eq!(caller(&[Permission::BucketsViewAll], &["a"]).view_scope(), Ok(Scope::All));
        assert_eq!(manager(&["a"]).view_scope(), Err(Refusal::Permission));
    }

    #[test]
    fn headers_that_hold_no_token_are_refused_without_a_look_up() {
        assert_eq!(Presented::read(None).unwrap_err(), Refusal::Missing);
        assert_eq!(Presented::read(Some("")).unwrap_err(), Refusal::Missing);
        let token = Token::generate().unwrap();
        let bearer = format!("Bearer {}", token.expose());
        assert_eq!(Presented::read(Some(&bearer)).unwrap_err(), Refusal::Malformed);
        assert!(Presented::read(Some(token.expose())).is_ok());
    }
}
