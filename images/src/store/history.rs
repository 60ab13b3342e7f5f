//! How an image came about: `docker history`.

use super::Store;
use super::images::Image;
use crate::{Digest, Error, History, Result};

/// One step, as `docker history` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryStep {
    pub step: History,
    /// Bytes of files in its layer; zero of a step without one.
    pub size: u64,
    /// The image that ended with this step, where it is known: the first step is that of the image itself, the next that of
    /// the image it was committed from. Docker writes `<missing>` where it is not.
    pub image: Option<Digest>,
    /// The tags of that image, as users know them.
    pub tags: Vec<String>,
}

impl Store {
    /// The steps of an image, the newest first.
    pub fn history(&self, id: &Digest) -> Result<Vec<HistoryStep>> {
        let config = self.config(id)?;
        let mut layers = config.parts().rootfs.diff_ids.iter();
        let mut steps = Vec::new();
        for step in &config.parts().history {
            let size = if step.empty_layer {
                0
            } else {
                let layer = layers.next().ok_or(Error::TooManySteps)?;
                self.layer(layer)?.ok_or(Error::Missing { what: "layer", digest: *layer })?.size
            };
            steps.push(HistoryStep { step: step.clone(), size, image: None, tags: Vec::new() });
        }
        steps.reverse();
        let mut image = Some(self.image(id)?);
        for step in &mut steps {
            let Some(Image { id, record, .. }) = &image else { break };
            step.image = Some(*id);
            step.tags = image.as_ref().map(|image| image.tags().collect()).unwrap_or_default();
            image = match record.parent.map(|parent| self.image(&parent)) {
                None | Some(Err(Error::NoSuchImage(_))) => None,
                Some(parent) => Some(parent?),
            };
        }
        Ok(steps)
    }
}
