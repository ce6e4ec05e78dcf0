use super::{Invalid, NAME_MAX_CHARS, Object};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::fmt;

/// What a token's role lets it do (CONTRACT.md, section 1, "Roles and permissions").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Permission {
    /// `buckets:view-own`: read leads and buckets of the token's affiliates.
    BucketsViewOwn,
    /// `buckets:view-all`: read leads and buckets of every affiliate.
    BucketsViewAll,
    /// `buckets:manage`: create, change and delete buckets.
    BucketsManage,
    /// `clients:create`: Sign Up.
    ClientsCreate,
    /// `clients:view`: read clients in the admin API.
    ClientsView,
    /// `clients:manage`: change clients in the admin API.
    ClientsManage,
    /// `security:manage`: tokens and roles.
    SecurityManage,
}

impl Permission {
    /// All of them, in the contract's order.
    pub const ALL: [Self; 7] = [
        Self::BucketsViewOwn,
        Self::BucketsViewAll,
        Self::BucketsManage,
        Self::ClientsCreate,
        Self::ClientsView,
        Self::ClientsManage,
        Self::SecurityManage,
    ];

    /// The name in requests, answers and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BucketsViewOwn => "buckets:view-own",
            Self::BucketsViewAll => "buckets:view-all",
            Self::BucketsManage => "buckets:manage",
            Self::ClientsCreate => "clients:create",
            Self::ClientsView => "clients:view",
            Self::ClientsManage => "clients:manage",
            Self::SecurityManage => "security:manage",
        }
    }

    /// The permission of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.as_str() == name)
    }
}

/// A set of permissions. The empty set allows nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Permissions(u8);

impl Permissions {
    /// Whether the permission is in the set.
    pub fn contains(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u8) != 0
    }

    /// The members, in the contract's order.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |permission| self.contains(*permission))
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().fold(0, |set, permission| set | 1 << permission as u8))
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Permission::as_str)).finish()
    }
}

/// Id of a role.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoleId(String);

impl RoleId {
    /// An id as stored or given; any text that names no role is simply not found.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A named set of permissions. Changing it changes every token that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Id.
    pub id: RoleId,
    /// Name as operators see it.
    pub name: String,
    /// What it allows.
    pub permissions: Permissions,
}

impl Role {
    /// The roles that a new system begins with; they can be changed like others.
    pub fn built_in() -> [Self; 4] {
        use Permission::{BucketsViewAll, BucketsViewOwn, ClientsCreate, ClientsView};
        let role = |id: &str, name: &str, permissions: &[Permission]| Self {
            id: RoleId::new(id),
            name: name.to_owned(),
            permissions: permissions.iter().copied().collect(),
        };
        [
            role(Self::ADMINISTRATOR, "Administrator", &Permission::ALL),
            role(Self::PARTNER, "Partner", &[BucketsViewOwn]),
            role(Self::SIGN_UP, "Sign up", &[ClientsCreate]),
            role("read-only-operator", "Read-only operator", &[BucketsViewAll, ClientsView]),
        ]
    }

    /// Id of the built-in role that may do everything.
    pub const ADMINISTRATOR: &str = "administrator";
    /// Id of the built-in role that views its own affiliates' leads.
    pub const PARTNER: &str = "partner";
    /// Id of the built-in role that registers clients.
    pub const SIGN_UP: &str = "sign-up";
}

impl RoleId {
    /// A new random id.
    pub fn generate() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }
}

impl Serialize for Role {
    /// The record of the admin API (CONTRACT.md, section 5).
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut shown = to.serialize_struct("Role", 3)?;
        shown.serialize_field("id", self.id.as_str())?;
        shown.serialize_field("name", &self.name)?;
        shown.serialize_field("permissions", &self.permissions)?;
        shown.end()
    }
}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter().map(Permission::as_str))
    }
}

/// The body that creates a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRole {
    /// `name`
    pub name: String,
    /// `permissions`
    pub permissions: Permissions,
}

impl NewRole {
    /// The fields of the body.
    pub const FIELDS: [&str; 2] = ["name", "permissions"];

    /// Reads a request body.
    ///
    /// # Errors
    /// A message that names the first field that is not as expected.
    pub fn parse(body: &[u8]) -> Result<Self, Invalid> {
        let object = Object::parse(body)?;
        object.only(&Self::FIELDS)?;
        let name = object.name("name", NAME_MAX_CHARS)?;
        let permissions = read_permissions(&object)?;
        let permissions =
            permissions.ok_or_else(|| Invalid::new("permissions must be an array of permissions"))?;
        Ok(Self { name, permissions })
    }

    /// The role, under a new id.
    pub fn create(self) -> Role {
        Role { id: RoleId::generate(), name: self.name, permissions: self.permissions }
    }
}

/// The body that changes a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleChange {
    /// `name`
    pub name: Option<String>,
    /// `permissions`, the whole new set.
    pub permissions: Option<Permissions>,
}

impl RoleChange {
    /// The fields of the body.
    pub const FIELDS: [&str; 2] = NewRole::FIELDS;

    /// Reads a request body.
    ///
    /// # Errors
    /// A message that names the first field that is not as expected or cannot be changed.
    pub fn parse(body: &[u8]) -> Result<Self, Invalid> {
        let object = Object::parse(body)?;
        super::refuse_unchangeable(&object, &["id"])?;
        object.only(&Self::FIELDS)?;
        let name = object.raw("name").map(|_| object.name("name", NAME_MAX_CHARS)).transpose()?;
        let permissions = read_permissions(&object)?;
        if name.is_none() && permissions.is_none() {
            return Err(Invalid::new("body must have name or permissions to change"));
        }
        Ok(Self { name, permissions })
    }

    /// The role with the change.
    pub fn apply(self, role: &Role) -> Role {
        Role {
            id: role.id.clone(),
            name: self.name.unwrap_or_else(|| role.name.clone()),
            permissions: self.permissions.unwrap_or(role.permissions),
        }
    }
}

fn read_permissions(object: &Object<'_>) -> Result<Option<Permissions>, Invalid> {
    let Some(names) = object.texts("permissions")? else { return Ok(None) };
    let read = |(at, name): (usize, &std::borrow::Cow<'_, str>)| {
        Permission::parse(name).ok_or_else(|| {
            let all = Permission::ALL.map(Permission::as_str).join(", ");
            Invalid::new(format!("permissions[{at}] must be one of {all}"))
        })
    };
    names.iter().enumerate().map(read).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_to_themselves_and_others_to_nothing() {
        for permission in Permission::ALL {
            assert_eq!(Permission::parse(permission.as_str()), Some(permission));
        }
        assert_eq!(Permission::parse("buckets:view"), None);
        assert_eq!(Permission::parse(""), None);
    }

    #[test]
    fn a_set_contains_its_members_only_and_the_empty_one_nothing() {
        for member in Permission::ALL {
            let set: Permissions = [member].into_iter().collect();
            for other in Permission::ALL {
                assert_eq!(set.contains(other), member == other);
                assert!(!Permissions::default().contains(other));
            }
        }
        let all: Permissions = Permission::ALL.into_iter().collect();
        assert_eq!(all.iter().collect::<Vec<_>>(), Permission::ALL);
    }
}
