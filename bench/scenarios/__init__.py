"""One scenario a file; ``bench.harness.scenario`` lists them."""
