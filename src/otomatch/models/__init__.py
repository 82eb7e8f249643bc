"""Audio-text models: encoders, heads, embeddings and model folders."""

from otomatch.models.audio_text_model import AudioTextModel
from otomatch.models.encoders import audio_encoder, text_encoder

__all__ = ["AudioTextModel", "audio_encoder", "text_encoder"]
