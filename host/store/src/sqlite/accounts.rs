use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, params};

use super::database::{Database, Schema};
use super::files::Files;
use crate::limits::MAX_MEMBERSHIPS;
use crate::{AccountId, Membership, Role, StoreError, WorkspaceId};

const SCHEMA: Schema = Schema {
    version: 1,
    sql: "
        CREATE TABLE workspaces (id TEXT PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE members (
            account TEXT NOT NULL, workspace TEXT NOT NULL, role TEXT NOT NULL,
            PRIMARY KEY (account, workspace)
        ) WITHOUT ROWID;
    ",
};

pub(super) fn open(files: &Files) -> Result<Database, StoreError> {
    Database::create(files, files.accounts(), &SCHEMA, |_| Ok(()))
}

/// The account that created a workspace.
pub(super) fn owner(
    accounts: &Database,
    workspace: &WorkspaceId,
) -> Result<Option<String>, StoreError> {
    accounts
        .read(|view| owner_in(view, workspace).map_err(|error| accounts.failed("reading", &error)))
}

pub(super) fn create(
    accounts: &Database,
    workspace: &WorkspaceId,
    owner: &AccountId,
) -> Result<(), StoreError> {
    accounts.write(|transaction| {
        let failed = |error| accounts.failed("writing", &error);
        match owner_in(transaction, workspace).map_err(failed)? {
            Some(existing) if existing == owner.as_str() => return Ok(()),
            Some(_) => {
                return Err(StoreError::AlreadyExists { workspace: workspace.as_str().to_owned() });
            }
            None => {}
        }
        check_room(accounts, transaction, owner)?;
        transaction
            .execute(
                "INSERT INTO workspaces VALUES (?1, ?2)",
                params![workspace.as_str(), owner.as_str()],
            )
            .map_err(failed)?;
        set_role(transaction, workspace, owner, Role::Owner).map_err(failed)
    })
}

pub(super) fn add(
    accounts: &Database,
    workspace: &WorkspaceId,
    by: &AccountId,
    member: &AccountId,
    role: Role,
) -> Result<(), StoreError> {
    accounts.write(|transaction| {
        let forbidden = |action, remedy| {
            let (workspace, account) = (workspace.as_str().to_owned(), by.as_str().to_owned());
            Err(StoreError::Forbidden { workspace, account, action, remedy })
        };
        let failed = |error| accounts.failed("writing", &error);
        match role_in(transaction, workspace, by).map_err(failed)? {
            None => return Err(no_such_workspace(workspace, by)),
            Some(Role::Member) => return forbidden("add members", "ask an owner"),
            Some(Role::Owner) if member == by && role != Role::Owner => {
                return forbidden(
                    "give up its own role",
                    "make another account owner and let it do so",
                );
            }
            Some(Role::Owner) => {}
        }
        if role_in(transaction, workspace, member).map_err(failed)?.is_none() {
            check_room(accounts, transaction, member)?;
        }
        set_role(transaction, workspace, member, role).map_err(failed)
    })
}

pub(super) fn of(accounts: &Database, account: &AccountId) -> Result<Vec<Membership>, StoreError> {
    let rows = accounts.read(|view| {
        let rows = || {
            view.prepare_cached(
                "SELECT workspace, role FROM members WHERE account = ?1 ORDER BY workspace",
            )?
            .query_map([account.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<Vec<(String, Role)>>>()
        };
        rows().map_err(|error| accounts.failed("reading", &error))
    })?;
    let memberships = rows
        .into_iter()
        .map(|(workspace, role)| Ok(Membership { workspace: WorkspaceId::new(workspace)?, role }));
    memberships.collect()
}

pub(super) fn check_member(
    accounts: &Database,
    workspace: &WorkspaceId,
    account: &AccountId,
) -> Result<(), StoreError> {
    let role = accounts.read(|view| {
        role_in(view, workspace, account).map_err(|error| accounts.failed("reading", &error))
    })?;
    role.map(|_| ()).ok_or_else(|| no_such_workspace(workspace, account))
}

fn no_such_workspace(workspace: &WorkspaceId, account: &AccountId) -> StoreError {
    let (workspace, account) = (workspace.as_str().to_owned(), account.as_str().to_owned());
    StoreError::NoSuchWorkspace { workspace, account }
}

fn owner_in(view: &Connection, workspace: &WorkspaceId) -> rusqlite::Result<Option<String>> {
    view.prepare_cached("SELECT owner FROM workspaces WHERE id = ?1")?
        .query_row([workspace.as_str()], |row| row.get(0))
        .optional()
}

fn role_in(
    view: &Connection,
    workspace: &WorkspaceId,
    account: &AccountId,
) -> rusqlite::Result<Option<Role>> {
    view.prepare_cached("SELECT role FROM members WHERE account = ?1 AND workspace = ?2")?
        .query_row([account.as_str(), workspace.as_str()], |row| row.get(0))
        .optional()
}

fn set_role(
    view: &Connection,
    workspace: &WorkspaceId,
    account: &AccountId,
    role: Role,
) -> rusqlite::Result<()> {
    view.prepare_cached("INSERT OR REPLACE INTO members VALUES (?1, ?2, ?3)")?
        .execute(params![account.as_str(), workspace.as_str(), role])
        .map(|_| ())
}

fn check_room(
    accounts: &Database,
    view: &Connection,
    account: &AccountId,
) -> Result<(), StoreError> {
    let count = view.query_row(
        "SELECT count(*) FROM members WHERE account = ?1",
        [account.as_str()],
        |row| row.get::<_, i64>(0),
    );
    let count = count.map_err(|error| accounts.failed("reading", &error))?;
    if usize::try_from(count).is_ok_and(|count| count < MAX_MEMBERSHIPS) {
        return Ok(());
    }
    Err(StoreError::TooLarge {
        what: format!("the account {:?} would be", account.as_str()),
        limit: MAX_MEMBERSHIPS,
        unit: "workspaces",
        remedy: "use another account",
    })
}

impl ToSql for Role {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(match self {
            Self::Owner => "owner",
            Self::Member => "member",
        }))
    }
}

impl FromSql for Role {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "owner" => Ok(Self::Owner),
            "member" => Ok(Self::Member),
            other => Err(FromSqlError::Other(format!("the unknown role {other:?}").into())),
        }
    }
}
