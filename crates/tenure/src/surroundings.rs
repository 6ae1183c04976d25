//! What is around a command: variables, who runs it, and the directories that follow from both. Looked at here, and nowhere else.

use std::path::PathBuf;

/// What was found at the start.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// All variables that are text.
    pub variables: Vec<(String, String)>,
    /// Whether we have all rights.
    pub is_root: bool,
}

impl Surroundings {
    /// Looks around.
    pub fn look() -> Surroundings {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Surroundings {
            variables: std::env::vars_os().filter_map(text).collect(),
            is_root: rustix::process::geteuid().is_root(),
        }
    }

    /// A variable that is set to something.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(other, value)| other == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Where this user keeps what programs remember.
    pub fn state_home(&self) -> Option<PathBuf> {
        self.home("XDG_STATE_HOME", ".local/state")
    }

    /// Where this user keeps configuration.
    pub fn config_home(&self) -> Option<PathBuf> {
        self.home("XDG_CONFIG_HOME", ".config")
    }

    fn home(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let absolute = |name: &str| self.variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(below_home)))
    }
}
