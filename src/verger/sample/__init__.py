"""Rendering of synthetic, labelled fruit photos, to try verger without real photos."""

from verger.sample.kinds import KINDS
from verger.sample.render import SampleOptions, render_kind
from verger.sample.write import ABOUT_NAME, COMMENT, render_sample

__all__ = ["ABOUT_NAME", "COMMENT", "KINDS", "SampleOptions", "render_kind", "render_sample"]
