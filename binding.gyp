{
  # No sources: CMakeLists.txt is the one build description. This file only lets node-gyp,
  # node-gyp-build and prebuildify start it.
  "targets": [
    {
      "target_name": "spherenet",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "inputs": ["CMakeLists.txt"],
          "outputs": ["<(PRODUCT_DIR)/spherenet.node"],
          "action": ["node", "scripts/build-addon.js", "<(PRODUCT_DIR)"]
        }
      ]
    }
  ]
}
