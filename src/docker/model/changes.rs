//! Which volumes and networks a new release defines differently.

use super::{Model, Resource};

/// Real names of volumes that both have and define differently: Compose would offer to drop their data.
pub fn volume_changes(old: &Model, new: &Model) -> Vec<String> {
    changes(old.volumes(), new.volumes())
}

/// Real names of networks that both have and define differently: Compose would recreate them, and disconnect
/// every container for that.
pub fn network_changes(old: &Model, new: &Model) -> Vec<String> {
    changes(old.networks(), new.networks())
}

fn changes(old: Vec<Resource>, new: Vec<Resource>) -> Vec<String> {
    // What is external is looked up by name only; its definition says nothing.
    let managed = |list: Vec<Resource>| list.into_iter().filter(|resource| !resource.external);
    let old: Vec<Resource> = managed(old).collect();
    let differs = |resource: &Resource| {
        old.iter().any(|was| was.name == resource.name && was.definition != resource.definition)
    };
    managed(new).filter(differs).map(|resource| resource.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(volumes: &str) -> Model {
        let json = format!(r#"{{"name":"x","services":{{"a":{{}}}},"volumes":{volumes}}}"#);
        Model::from_json(json.as_bytes(), "x").unwrap()
    }

    #[test]
    fn only_a_changed_definition_of_the_same_volume_counts() {
        let old = model(r#"{"data":{"name":"x_data","driver_opts":{"type":"none"}}}"#);
        for (new, changed) in [
            (r#"{"data":{"name":"x_data","driver_opts":{"type":"none"}}}"#, vec![]),
            (r#"{"other":{"name":"x_data","driver_opts":{"type":"none"}}}"#, vec![]),
            (r#"{"data":{"name":"x_data","driver_opts":{"type":"nfs"}}}"#, vec!["x_data"]),
            (r#"{"data":{"name":"x_data"}}"#, vec!["x_data"]),
            (r#"{"data":{"name":"x_data2"}}"#, vec![]),
            (r#"{"data":{"name":"x_data","external":true}}"#, vec![]),
            ("{}", vec![]),
        ] {
            assert_eq!(volume_changes(&old, &model(new)), changed, "{new}");
        }
    }
}
