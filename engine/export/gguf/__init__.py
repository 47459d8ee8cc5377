"""A model of LLaMA's architecture as one GGUF file, which llama.cpp and what builds on it run."""
