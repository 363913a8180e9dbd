//! Over which features distances between sets of images are taken.

use crate::frechet::frechet_distance;
use crate::images::ViewedImage;
use crate::intervals::{Bootstrap, Interval};
use crate::kernel::{Side, kernel_figure};

/// Pairs of images up to which a kernel distance gets an interval, which costs another pass over them.
const MOST_PAIRS: usize = 4_000_000;

/// A kind of features, with the names of the metrics.
pub(crate) struct Kind {
    features: fn(&ViewedImage) -> Option<&[f32]>,
    pub(crate) frechet_name: &'static str,
    pub(crate) kernel_name: &'static str,
}

pub(crate) const KINDS: [Kind; 2] = [
    Kind {
        features: |image| image.inception.as_ref().map(|view| &view.features[..]),
        frechet_name: "fid",
        kernel_name: "kid",
    },
    Kind {
        features: |image| Some(&image.embedding),
        frechet_name: "frechet_clip",
        kernel_name: "kernel_clip",
    },
];

impl Kind {
    /// The features of images, with the numbers of their people where all show somebody.
    pub(crate) fn side<'a>(
        &self,
        images: &[&'a ViewedImage],
        person: impl Fn(&ViewedImage) -> Option<usize>,
    ) -> Side<'a> {
        let with = |image: &&'a ViewedImage| Some(((self.features)(image)?, person(image)));
        let (rows, people): (Vec<_>, Vec<_>) = images.iter().filter_map(with).unzip();
        Side {
            rows,
            people: people.into_iter().collect(),
        }
    }

    /// `None` for fewer than two images on a side.
    pub(crate) fn frechet(&self, first: &Side<'_>, second: &Side<'_>) -> Option<f64> {
        frechet_distance(&first.rows, &second.rows)
    }

    /// The kernel distance and its interval. `None` for fewer than two images on a side.
    pub(crate) fn kernel(
        &self,
        first: &Side<'_>,
        second: &Side<'_>,
        people: usize,
        mut bootstrap: Bootstrap,
    ) -> Option<(f64, Option<Interval>)> {
        if first.rows.len() * second.rows.len() > MOST_PAIRS {
            bootstrap.resamples = 0;
        }
        // Redrawing all pairs of people so often adds no digit that is printed.
        bootstrap.resamples = bootstrap.resamples.min(200);
        kernel_figure(first, second, people, bootstrap)
    }
}
