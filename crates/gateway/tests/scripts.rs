//! The scripts that come with the crate can be played.

use holdpoint_gateway::{
    Script,
    rehearsal::{HOLDS, TOUR},
};

#[test]
fn the_shipped_scripts_are_in_order() {
    for (text, name) in [(TOUR, "tour.yaml"), (HOLDS, "holds.yaml")] {
        let script = Script::parse(text, name).expect(name);
        assert!(!script.title.is_empty());
        for scene in &script.scenes {
            assert!(!scene.name.is_empty(), "{name}:{} has no name", scene.line);
        }
    }
}

#[test]
fn every_text_of_the_tour_says_that_a_script_is_answering() {
    let tour = Script::parse(TOUR, "tour.yaml").expect("script");
    for step in tour.scenes.iter().flat_map(|scene| scene.turns.iter().flatten()) {
        if let Some(text) = &step.text {
            assert!(text.to_lowercase().contains("script is answering"), "tour.yaml:{}", step.line);
        }
    }
}
