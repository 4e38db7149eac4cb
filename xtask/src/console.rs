//! The console's build: `web/dist`, which the control plane embeds.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::directory::Directory;
use crate::node_modules::{self, npm};
use crate::progress::Steps;
use crate::workspace;

/// What is in the console's folder and not in its build.
const NOT_BUILT: [&str; 4] = ["node_modules", "dist", "e2e", "schema.graphql"];

/// Builds the console, unless nothing of it has changed since the last time; two steps, to be done before cargo builds.
///
/// *Errors*: exit code 3 when there is no Node.js.
pub fn build(steps: &mut Steps, directory: &Directory, also_installed: &[&str]) -> anyhow::Result<()> {
    node_modules::ensure(steps, directory, &[&[node_modules::CONSOLE], also_installed].concat())?;
    let mut step = steps.begin("console");
    let web = folder();
    let sources = hash(&web)?;
    // Beside the packages, so that a build with other packages is done again.
    let stamp = web.join("node_modules/.built-from");
    if web.join("dist/index.html").exists() && fs::read_to_string(&stamp).is_ok_and(|from| from == sources) {
        step.finish("nothing has changed");
        return Ok(());
    }
    let _ = fs::remove_file(&stamp);
    step.run(npm(&web).args(["run", "build"]), &directory.log("console"))?;
    // Written last, so that an interrupted build is done again.
    fs::write(stamp, sources)?;
    step.finish("");
    Ok(())
}

/// The console's folder.
pub fn folder() -> PathBuf {
    workspace::root().join(node_modules::CONSOLE)
}

/// A hash of every file that the build reads.
fn hash(web: &Path) -> anyhow::Result<String> {
    let mut files = Vec::new();
    collect(web, &mut files)?;
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let bytes = fs::read(&file)?;
        all.extend(file.strip_prefix(web)?.as_os_str().as_encoded_bytes());
        all.extend(bytes.len().to_le_bytes());
        all.extend(bytes);
    }
    Ok(workspace::short_hash(&all))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if NOT_BUILT.contains(&name.as_str()) || name.contains(".test.") {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_changes_with_what_is_built_and_with_nothing_else() {
        let directory = Directory::throw_away("selftest-console", None).unwrap();
        let web = directory.join("web");
        let write = |name: &str, text: &str| {
            let file = web.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
            hash(&web).unwrap()
        };
        let first = write("src/main.tsx", "a");
        for left_out in ["dist/index.html", "node_modules/x/index.js", "e2e/journey.mjs", "ui/ui.test.tsx"] {
            assert_eq!(write(left_out, "x"), first, "{left_out}");
        }
        let second = write("src/main.tsx", "b");
        assert_ne!(second, first);
        assert_ne!(write("src/other.tsx", ""), second);
        assert_eq!(write("src/main.tsx", "b"), hash(&web).unwrap());
    }
}
