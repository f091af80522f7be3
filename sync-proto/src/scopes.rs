//! Which scopes there are, who follows which, and who may write which (DESIGN: "Who may write what").

use domain::ids::StoreId;
use domain::record::DeviceKind;
use journal::Scope;

/// Stores, devices and their keys. Written by servers.
pub fn directory() -> Scope {
    Scope::new("directory").expect("a scope name")
}

/// Products and prices. Written by servers.
pub fn catalogue() -> Scope {
    Scope::new("catalog").expect("a scope name")
}

/// The staff of a store. Written by servers.
pub fn staff(store: StoreId) -> Scope {
    Scope::new(format!("staff/{store}")).expect("a scope name")
}

/// What happens in a store. Written by its devices.
pub fn store(store: StoreId) -> Scope {
    Scope::new(format!("store/{store}")).expect("a scope name")
}

/// What a device of a store follows, ascending.
pub fn followed_by(kind: DeviceKind, of: StoreId) -> Vec<Scope> {
    let mut scopes = match kind {
        DeviceKind::Till => vec![directory(), catalogue(), staff(of), store(of)],
        DeviceKind::Handheld => vec![directory(), staff(of)],
        DeviceKind::Server => Vec::new(),
    };
    scopes.sort();
    scopes
}

/// Whether a device of a kind and store may write into a scope.
pub fn may_write(kind: DeviceKind, of: Option<StoreId>, scope: &Scope) -> bool {
    match (kind, of) {
        (DeviceKind::Server, _) => *scope == directory() || *scope == catalogue() || scope.as_str().starts_with("staff/"),
        (DeviceKind::Till, Some(of)) => *scope == store(of),
        _ => false,
    }
}

/// Who writes into a scope: the kind of device, and the store of one that works for a store. That only such devices do is seen to where entries are
/// taken in.
pub fn writers_of(scope: &Scope) -> (DeviceKind, Option<StoreId>) {
    let store = scope.as_str().strip_prefix("store/").and_then(|store| uuid::Uuid::try_parse(store).ok());
    match store {
        Some(store) => (DeviceKind::Till, Some(StoreId(store))),
        None => (DeviceKind::Server, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_till_writes_its_own_store_and_nothing_else() {
        let [mine, other] = [1, 2].map(|n| StoreId::new(n, [0; 10]));
        assert!(may_write(DeviceKind::Till, Some(mine), &store(mine)));
        for scope in [store(other), staff(mine), directory(), catalogue()] {
            assert!(!may_write(DeviceKind::Till, Some(mine), &scope), "{scope}");
        }
        assert!(may_write(DeviceKind::Server, None, &catalogue()) && !may_write(DeviceKind::Server, None, &store(mine)));
        for scope in [store(mine), staff(mine), directory(), catalogue()] {
            let (kind, of) = writers_of(&scope);
            assert!(may_write(kind, of, &scope), "{scope}");
        }
    }
}
