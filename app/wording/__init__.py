"""What the pages say about numbers and models; free of Streamlit."""
