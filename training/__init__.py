"""The pipeline that makes checkpoints: data → vocabulary → features → training → evaluation."""
