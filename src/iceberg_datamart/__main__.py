"""`python -m iceberg_datamart`: the command line, where its program is not on the path."""

from iceberg_datamart.cli import main

if __name__ == "__main__":
    main()
