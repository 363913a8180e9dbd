//! Who is in the image and how: the person, the scene, and where the head's pose puts the head.

use super::anatomy::Anatomy;
use super::grid::sample_points;
use super::head::Pose;
use super::lane::lane;
use super::scene::Scene;
use super::shape::Points;

/// A person in a scene.
pub(super) struct View<'a> {
    pub(super) anatomy: &'a Anatomy,
    pub(super) scene: &'a Scene,
    pub(super) pose: Pose,
}

impl<'a> View<'a> {
    pub(super) fn new(anatomy: &'a Anatomy, scene: &'a Scene) -> Self {
        Self {
            anatomy,
            scene,
            pose: Pose::new(scene),
        }
    }

    /// The plane through the head's centre, in halves of the head's height, at a tile's samples.
    pub(super) fn plane(&self, across: usize, down: usize) -> Points {
        let (sine, cosine) = self.scene.roll.sin_cos();
        let [dx, dy] = self.scene.shift;
        let inverse = 1.0 / self.scene.scale;
        let [x, y] = sample_points(across, down);
        Points::new(
            lane(|i| (cosine * (x[i] - dx) + sine * (y[i] - dy)) * inverse),
            lane(|i| (cosine * (y[i] - dy) - sine * (x[i] - dx)) * inverse),
        )
    }
}
