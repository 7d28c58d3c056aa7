//! Services in the order they may be started in.

use super::Service;

/// Each service after those it depends on; otherwise the order they came in. Compose refuses cycles; should one
/// come all the same, its members keep that order too.
pub(super) fn by_dependency(mut waiting: Vec<Service>) -> Vec<Service> {
    let mut ordered: Vec<Service> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let is_free = |service: &Service| {
            !waiting
                .iter()
                .any(|other| other.name != service.name && service.depends_on.contains(&other.name))
        };
        let next = waiting.iter().position(is_free).unwrap_or(0);
        ordered.push(waiting.remove(next));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_come_first_and_cycles_end() {
        for (graph, order) in [
            (vec![("a", vec![]), ("b", vec![])], "a b"),
            (vec![("a", vec!["b"]), ("b", vec!["c"]), ("c", vec![])], "c b a"),
            (vec![("web", vec!["api", "db"]), ("api", vec!["db"]), ("db", vec![])], "db api web"),
            (vec![("a", vec!["gone"])], "a"),
            (vec![("a", vec!["b"]), ("b", vec!["a"]), ("c", vec![])], "c a b"),
            (vec![("a", vec!["a"])], "a"),
        ] {
            let service = |(name, depends): (&str, Vec<&str>)| Service {
                name: name.to_owned(),
                depends_on: depends.into_iter().map(str::to_owned).collect(),
                ..Service::default()
            };
            let names: Vec<String> =
                by_dependency(graph.into_iter().map(service).collect()).into_iter().map(|s| s.name).collect();
            assert_eq!(names.join(" "), order);
        }
    }
}
