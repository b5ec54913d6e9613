//! Real layers into real trees and overlays.

mod breakouts;
mod features;
mod hostile;
mod overlay;
