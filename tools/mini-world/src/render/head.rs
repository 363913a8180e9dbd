//! The head's shape: an ellipsoid that parallel rays from the camera hit, and the map from its
//! surface to the face.

use std::f32::consts::FRAC_2_PI;

use super::anatomy::Anatomy;
use super::lane::{Lane, arc_tangent, lane, smooth};
use super::scene::Scene;
use super::shape::Points;

type Matrix = [[f32; 3]; 3];

/// Where the head's pose takes its points: rows are the head's axes in the camera's coordinates.
pub(super) struct Pose {
    rotation: Matrix,
    /// Sine of the yaw.
    pub(super) side: f32,
    /// Cosine of the yaw.
    pub(super) front: f32,
}

impl Pose {
    pub(super) fn new(scene: &Scene) -> Self {
        let (sy, cy) = scene.yaw.sin_cos();
        let (sp, cp) = scene.pitch.sin_cos();
        Self {
            rotation: [
                [cy, 0.0, -sy],
                [sy * sp, cp, cy * sp],
                [sy * cp, -sp, cy * cp],
            ],
            side: sy,
            front: cy,
        }
    }

    /// Directions in the head's coordinates as directions in the camera's.
    #[inline(always)]
    pub(super) fn to_camera(&self, [x, y, z]: [f32; 3]) -> [f32; 3] {
        let r = &self.rotation;
        [0, 1, 2].map(|k| x * r[0][k] + y * r[1][k] + z * r[2][k])
    }
}

/// An ellipsoid with the head's centre and pose.
pub(super) struct Ellipsoid<'a> {
    pose: &'a Pose,
    /// 1 / half-axis² for each axis: to the left, up, to the front.
    curvature: [f32; 3],
}

/// Where the rays of a tile's samples meet an ellipsoid, in the head's coordinates.
pub(super) struct Hits {
    pub(super) x: Lane,
    pub(super) y: Lane,
    pub(super) z: Lane,
    /// Discriminant of the ray's equation: above 0 if it meets the ellipsoid. Else the nearest
    /// point is given.
    depth: Lane,
}

impl<'a> Ellipsoid<'a> {
    pub(super) fn new(pose: &'a Pose, half_axes: [f32; 3]) -> Self {
        Self {
            pose,
            curvature: half_axes.map(|axis| 1.0 / (axis * axis)),
        }
    }

    #[inline]
    pub(super) fn hits(&self, plane: &Points) -> Hits {
        let [rx, ry, rz] = self.pose.rotation;
        let [dx, dy, dz] = self.curvature;
        let a = rx[2] * rx[2] * dx + ry[2] * ry[2] * dy + rz[2] * rz[2] * dz;
        let mut hits = Hits {
            x: plane.x,
            y: plane.x,
            z: plane.x,
            depth: plane.x,
        };
        for i in 0..plane.x.len() {
            let (px, py) = (plane.x[i], plane.y[i]);
            let (qx, qy, qz) = (
                rx[0] * px + rx[1] * py,
                ry[0] * px + ry[1] * py,
                rz[0] * px + rz[1] * py,
            );
            let b = 2.0 * (qx * rx[2] * dx + qy * ry[2] * dy + qz * rz[2] * dz);
            let c = qx * qx * dx + qy * qy * dy + qz * qz * dz - 1.0;
            let depth = b * b - 4.0 * a * c;
            let distance = (depth.max(0.0).sqrt() - b) / (2.0 * a);
            hits.depth[i] = depth;
            hits.x[i] = qx + distance * rx[2];
            hits.y[i] = qy + distance * ry[2];
            hits.z[i] = qz + distance * rz[2];
        }
        hits
    }

    /// The surface's direction at each hit, in the camera's coordinates, of length 1.
    #[inline]
    pub(super) fn normals(&self, hits: &Hits) -> [Lane; 3] {
        let mut normals = [hits.x; 3];
        for i in 0..hits.x.len() {
            let [x, y, z] = [
                hits.x[i] * self.curvature[0],
                hits.y[i] * self.curvature[1],
                hits.z[i] * self.curvature[2],
            ];
            let inverse = 1.0 / ((x * x + y * y + z * z).sqrt() + 1e-9);
            let turned = self.pose.to_camera([x * inverse, y * inverse, z * inverse]);
            for (normal, turned) in normals.iter_mut().zip(turned) {
                normal[i] = turned;
            }
        }
        normals
    }
}

impl Hits {
    /// Whether the ellipsoid covers anything of the tile or of the samples next to it.
    pub(super) fn near(&self) -> bool {
        // A sample is at most 0.012 wide here; at 0.5 below zero a ray passes the silhouette by
        // 0.03.
        self.depth.iter().any(|&depth| depth > -0.5)
    }

    /// How much of each sample the ellipsoid covers.
    pub(super) fn cover(&self) -> Lane {
        lane(|i| smooth(-0.02, 0.04, self.depth[i]))
    }
}

/// Half-axes of the bare head: to the left, up, to the front.
pub(super) fn head_axes(anatomy: &Anatomy) -> [f32; 3] {
    [0.74 * anatomy.width, 1.0, 0.86]
}

/// Half-axes of the head with its hair.
pub(super) fn hair_axes(anatomy: &Anatomy) -> [f32; 3] {
    let [left, up, front] = head_axes(anatomy);
    [
        left + anatomy.hair_volume,
        up + anatomy.hair_volume * 1.1,
        front + anatomy.hair_volume,
    ]
}

/// The face's (u, v) under each hit.
#[inline]
pub(super) fn face_points(anatomy: &Anatomy, hits: &Hits) -> Points {
    let [left, _, front] = head_axes(anatomy);
    let (left, front) = (1.0 / left, 1.0 / front);
    let u = lane(|i| arc_tangent(hits.x[i] * left, hits.z[i] * front) * (FRAC_2_PI * 1.25));
    let v = lane(|i| hits.y[i] * anatomy.chin);
    Points::new(u, v)
}
