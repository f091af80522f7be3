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
    }
}
