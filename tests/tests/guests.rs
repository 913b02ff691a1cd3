//! Loaded code that asks the engine it is in, and what it leaves with the process: every scene of `tests::guest`, in a process of its own.

use loader_sandbox::{Child, Ending};
use std::time::Duration;
use tests::{
    cores::{nothing_wrong, on_all_cores},
    guest::{SCENES, Scene},
};

fn play(scene: &Scene) -> Result<(), String> {
    let child = Child::new(env!("CARGO_BIN_EXE_run-case")).args(["guest", scene.name]);
    let report = child.no_longer_than(Duration::from_secs(60)).run().map_err(|e| e.to_string())?;
    let output = String::from_utf8_lossy(&report.stdout);
    let said: Vec<&str> = output.lines().collect();
    match report.ending {
        Ending::Exit(0) if said == scene.says => Ok(()),
        Ending::Exit(0) => Err(format!("{}: it said {said:?}, not {:?}", scene.name, scene.says)),
        ending => Err(format!("{}: {ending}\n{}", scene.name, String::from_utf8_lossy(&report.stderr))),
    }
}

#[test]
fn every_scene_ends_as_it_must() {
    nothing_wrong("scenes", on_all_cores(SCENES, play));
}
