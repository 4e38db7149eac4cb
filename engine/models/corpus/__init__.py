"""The corpus of spark-1: every sample is generated here; nothing is downloaded."""
