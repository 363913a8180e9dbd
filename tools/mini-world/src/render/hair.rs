//! Patterns of hair and skin: the hair's edge over the forehead, strands, freckles.

use super::anatomy::{Anatomy, HairStyle};
use super::lane::{LANES, Lane, cosine, lane, sine, smooth};
use super::shape::{Blob, Points};

/// How much higher than the hairline the hair's edge is, over each point of the face.
pub(super) fn parting(anatomy: &Anatomy, face: &Points) -> Lane {
    let u = &face.x;
    match anatomy.hair_style {
        HairStyle::Level => [0.0; LANES],
        HairStyle::Slanted => lane(|i| 0.10 * u[i]),
        HairStyle::Peaked => lane(|i| -0.12 * cosine(u[i] * 2.2)),
        HairStyle::Arched => lane(|i| 0.14 * cosine(u[i] * 3.0)),
        HairStyle::Fringe => {
            let fringe = Blob::new([0.0, anatomy.hairline], [0.5, 0.5], 0.8).mask_or_zero(face);
            lane(|i| -0.25 * fringe[i])
        }
        HairStyle::Wavy => lane(|i| 0.05 * sine(u[i] * 9.0)),
    }
}

/// How much of each point of the scalp is covered by hair.
pub(super) fn scalp(anatomy: &Anatomy, face: &Points, parting: &Lane) -> Lane {
    let temples = if anatomy.feminine || anatomy.hair_style != HairStyle::Level {
        0.75
    } else {
        0.45
    };
    let hair = lane(|i| {
        let edge = anatomy.hairline + parting[i] - temples * smooth(0.75, 1.15, face.x[i].abs());
        smooth(-0.03, 0.05, face.y[i] - edge)
    });
    if !anatomy.bald {
        return hair;
    }
    lane(|i| hair[i] * smooth(0.75, 0.95, face.x[i].abs()) * (1.0 - smooth(0.2, 0.45, face.y[i])))
}

/// How much of each point of the hair's outer surface is hair. `parting` belongs to the face under
/// it.
pub(super) fn outer(anatomy: &Anatomy, surface: &Points, parting: &Lane) -> Lane {
    use HairStyle::{Arched, Peaked, Wavy};
    let falls = anatomy.feminine && matches!(anatomy.hair_style, Peaked | Arched | Wavy);
    let front = anatomy.hairline + 0.06;
    let drop = front - if falls { -0.55 } else { 0.22 };
    lane(|i| {
        let edge = front + parting[i] * 0.7 - drop * smooth(0.66, 0.98, surface.x[i].abs());
        smooth(-0.02, 0.05, surface.y[i] - edge)
    })
}

/// Brightness of strands, between 1 − 2 × `contrast` and 1.
pub(super) fn strands(surface: &Points, contrast: f32) -> Lane {
    let (u, v) = (&surface.x, &surface.y);
    lane(|i| 1.0 - contrast + contrast * sine(u[i] * 45.0 + 6.0 * sine(v[i] * 9.0 + u[i] * 3.0)))
}

/// 1 where a freckle is.
pub(super) fn freckles(face: &Points) -> Lane {
    lane(|i| {
        let (u, v) = (face.x[i], face.y[i]);
        let waves = sine(u * 91.0 + sine(v * 57.0) * 2.0) * sine(v * 83.0 + cosine(u * 61.0) * 2.0);
        if waves > 0.75 { 1.0 } else { 0.0 }
    })
}
