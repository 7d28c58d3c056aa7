//! The command lines, as pure functions: argv arrays, never shell strings.

use std::collections::BTreeMap;
use std::path::Path;

/// A project by its name and directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Project<'a> {
    pub(super) name: &'a str,
    pub(super) dir: &'a Path,
}

impl Project<'_> {
    /// Resolve files of the project directory.
    pub(super) fn compile(self, files: &[String]) -> Vec<String> {
        self.compile_with(&[], files)
    }

    /// The same with the services of every profile.
    pub(super) fn compile_every(self, files: &[String]) -> Vec<String> {
        self.compile_with(&["--profile", "*"], files)
    }

    fn compile_with(self, options: &[&str], files: &[String]) -> Vec<String> {
        let mut args = self.head();
        args.extend(words(options));
        for file in files {
            args.extend(["--file".to_owned(), self.dir.join(file).display().to_string()]);
        }
        args.extend(words(&["config", "--format", "json"]));
        args
    }

    /// Resolve files with the services of every profile, under the name they give themselves.
    pub(super) fn compile_all(self, files: &[String]) -> Vec<String> {
        let dir = self.dir.display().to_string();
        let mut args = words(&["--ansi", "never", "--profile", "*", "--project-directory", &dir]);
        for file in files {
            args.extend(["--file".to_owned(), self.dir.join(file).display().to_string()]);
        }
        args.extend(words(&["config", "--format", "json"]));
        args
    }

    /// The config hashes of a compiled model.
    pub(super) fn hashes(self, model: &Path, profiles: &[String]) -> Vec<String> {
        self.on(model, profiles, &["config", "--hash", "*"])
    }

    /// More containers, none of the present ones touched.
    pub(super) fn create_beside(
        self,
        model: &Path,
        profiles: &[String],
        scales: &BTreeMap<String, u32>,
        services: &[String],
    ) -> Vec<String> {
        let mut args =
            self.on(model, profiles, &["create", "--no-recreate", "--no-build", "--pull", "never"]);
        for (service, scale) in scales {
            args.extend(["--scale".to_owned(), format!("{service}={scale}")]);
        }
        args.extend_from_slice(services);
        args
    }

    /// New containers in place of the present ones. `create` would also converge the dependencies, removing
    /// old containers that are kept for the way back; only `up` knows `--no-deps`.
    pub(super) fn recreate(self, model: &Path, profiles: &[String], services: &[String]) -> Vec<String> {
        let act = ["up", "--no-start", "--no-deps", "--force-recreate", "--no-build", "--pull", "never"];
        let mut args = self.on(model, profiles, &act);
        args.extend_from_slice(services);
        args
    }

    /// A compiled model has only services that are wanted, so every profile it names is active.
    fn on(self, model: &Path, profiles: &[String], act: &[&str]) -> Vec<String> {
        let mut args = self.head();
        args.extend(profiles.iter().flat_map(|profile| ["--profile".to_owned(), profile.clone()]));
        args.extend(["--file".to_owned(), model.display().to_string()]);
        args.extend(words(act));
        args
    }

    fn head(self) -> Vec<String> {
        let dir = self.dir.display().to_string();
        words(&["--ansi", "never", "--project-name", self.name, "--project-directory", &dir])
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// `service hash` lines.
pub(super) fn read_hashes(text: &str) -> Option<BTreeMap<String, String>> {
    let pair = |line: &str| {
        let (service, hash) = line.split_once(char::is_whitespace)?;
        Some((service.to_owned(), hash.trim().to_owned()))
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(pair).collect()
}

/// Whether what `version --short` said is 2 or later.
pub(super) fn is_v2(version: &str) -> bool {
    let major = version.trim_start_matches('v').split('.').next().unwrap_or_default();
    major.parse::<u32>().is_ok_and(|major| major >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> Project<'static> {
        Project { name: "shop", dir: Path::new("/srv/shop/current") }
    }

    const HEAD: &str = "--ansi never --project-name shop --project-directory /srv/shop/current";

    #[test]
    fn every_command_line_names_project_directory_and_file() {
        let model = Path::new("/srv/shop/work/1/model.json");
        let file = "--file /srv/shop/work/1/model.json";
        let services = ["web".to_owned(), "api".to_owned()];
        let scales = BTreeMap::from([("web".to_owned(), 2), ("db".to_owned(), 1)]);
        for (args, tail) in [
            (project().compile(&[]), "config --format json".to_owned()),
            (
                project().compile(&["a.yaml".to_owned(), "/etc/b.yaml".to_owned()]),
                "--file /srv/shop/current/a.yaml --file /etc/b.yaml config --format json".to_owned(),
            ),
            (
                project().compile_every(&["a.yaml".to_owned()]),
                "--profile * --file /srv/shop/current/a.yaml config --format json".to_owned(),
            ),
            (project().hashes(model, &[]), format!("{file} config --hash *")),
            (
                project().hashes(model, &["x".to_owned(), "y".to_owned()]),
                format!("--profile x --profile y {file} config --hash *"),
            ),
            (
                project().create_beside(model, &[], &scales, &services),
                format!(
                    "{file} create --no-recreate --no-build --pull never --scale db=1 --scale web=2 web api"
                ),
            ),
            (
                project().recreate(model, &[], &services),
                format!("{file} up --no-start --no-deps --force-recreate --no-build --pull never web api"),
            ),
        ] {
            assert_eq!(args.join(" "), format!("{HEAD} {tail}"));
        }
    }

    #[test]
    fn hashes_are_read_by_line() {
        let hashes = read_hashes("web abc\napi  def\n\n").unwrap();
        assert_eq!(hashes, BTreeMap::from([("web".into(), "abc".into()), ("api".into(), "def".into())]));
        assert_eq!(read_hashes("nonsense"), None);
    }

    #[test]
    fn only_version_two_and_later_will_do() {
        for (version, good) in [
            ("2.26.1-4", true),
            ("v2.0.0", true),
            ("5.0.1", true),
            ("1.29.2", false),
            ("dev", false),
            ("", false),
        ] {
            assert_eq!(is_v2(version), good, "{version}");
        }
    }
}
